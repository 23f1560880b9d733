"""What screens are made of: widgets that draw what they are given and know no other widget."""
