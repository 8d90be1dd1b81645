"""The one place that marks synthetic artifacts and recognises them again."""
