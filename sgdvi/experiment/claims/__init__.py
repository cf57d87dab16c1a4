"""The paper, claim by claim: a declaration and a measurement for every theorem, equation, figure and number of it."""
