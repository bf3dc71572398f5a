"""What every Segue service stands on."""
