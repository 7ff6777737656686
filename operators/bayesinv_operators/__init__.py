"""Forward models of bayesinv, offered through the entry-point group ``bayesinv.operators`` as any plug-in is."""
