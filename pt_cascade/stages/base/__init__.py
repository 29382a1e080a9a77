"""What every stage is: a re-ranker of rows or of pairs, its identity, and the text it reads. No model is loaded here."""
