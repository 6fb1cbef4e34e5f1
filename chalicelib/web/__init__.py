"""What people see: the pages behind links, and the mails that carry the links."""
