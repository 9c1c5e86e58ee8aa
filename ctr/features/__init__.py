"""From event bytes to hashed features: what training, serving and inspection all share."""
