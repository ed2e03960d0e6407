"""The edition one hands out: source notebook, hidden checks, rubric."""
