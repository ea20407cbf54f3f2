"""How a feature function is called.

In a state that no other feature, and no other module's import, has touched.
"""
