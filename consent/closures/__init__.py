"""From sensitive ingredients and concepts to all that contains or specialises them."""
