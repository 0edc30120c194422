# dist: what a host needs beside the programs.
EXTRA_DIST += dist/cord.service.in dist/cord.conf dist/cor.bash

systemdunitdir = $(prefix)/lib/systemd/system
nodist_systemdunit_DATA = dist/cord.service
CLEANFILES += dist/cord.service

dist/cord.service: dist/cord.service.in Makefile
	$(AM_V_GEN)$(MKDIR_P) $(@D) && \
	sed -e 's|@sbindir[@]|$(sbindir)|g' -e 's|@sysconfdir[@]|$(sysconfdir)|g' \
		$(srcdir)/dist/cord.service.in >$@.tmp && mv $@.tmp $@

# An example: the administrator's own file is never overwritten.
exampledir = $(docdir)/examples
example_DATA = dist/cord.conf

bashcompletiondir = $(datadir)/bash-completion/completions
install-data-local:
	$(MKDIR_P) $(DESTDIR)$(bashcompletiondir)
	$(INSTALL_DATA) $(srcdir)/dist/cor.bash $(DESTDIR)$(bashcompletiondir)/cor
	ln -sf cor $(DESTDIR)$(bashcompletiondir)/cord
uninstall-local:
	rm -f $(DESTDIR)$(bashcompletiondir)/cor $(DESTDIR)$(bashcompletiondir)/cord
