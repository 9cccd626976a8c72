"""How good results are: against what people annotated on the same slides, and against other results."""
