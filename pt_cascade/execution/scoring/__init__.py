"""Every (query, document, stage) scored once, checked, and resumed after a crash; what follows from them is in ``analysis``."""
