"""What this plugin brings. Only options stand here; torch is imported when a component is made."""
