"""The words of queries and documents that stages which run a model are tested with: plain, accented, special tokens, no letters."""

PLAIN = ("the", "flow", "of", "heat", "past", "a", "blunt", "body")
WORDS = (*PLAIN, "Café", "naïve", "東京", "10.5", "<pad>", "</s>", "[SEP]", "Relevant:", "\u200b🚀")
LENGTHS = (0, 1, 2, 3, 5, 8, 12, 20, 30, 60, 100, 300, 500, 900)
