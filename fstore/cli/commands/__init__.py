"""One file a verb, in folders by family; ``fstore.cli.app`` lists them."""
