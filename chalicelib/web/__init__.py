"""The HTTP routes: the pages behind links, the registrations endpoint, the health check."""
