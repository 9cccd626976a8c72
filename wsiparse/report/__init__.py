"""Objects -> numbers and pictures; pure functions of the object table and a small overview image."""
