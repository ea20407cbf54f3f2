"""What other code set in the author's modules, told by what their texts say."""
