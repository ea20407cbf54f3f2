"""How a feature function is called: in a state that no other feature, and no other module's import, has touched."""
