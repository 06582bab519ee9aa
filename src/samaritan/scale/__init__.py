"""Work on a cluster, by Ray. Nothing else imports it."""
