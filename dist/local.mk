# dist: what a host needs beside the programs.
EXTRA_DIST += dist/cord.service.in dist/cord-user.service.in dist/cord.conf dist/cor.bash \
	dist/cord-sends-only.conf dist/60-cor-userfaultfd.rules

systemdunitdir = $(prefix)/lib/systemd/system
nodist_systemdunit_DATA = dist/cord.service
systemduserunitdir = $(prefix)/lib/systemd/user
nodist_systemduserunit_DATA = dist/cord-user.service
CLEANFILES += dist/cord.service dist/cord-user.service

dist/cord.service: dist/cord.service.in
dist/cord-user.service: dist/cord-user.service.in
dist/cord.service dist/cord-user.service: Makefile
	$(AM_V_GEN)$(MKDIR_P) $(@D) && \
	sed -e 's|@sbindir[@]|$(sbindir)|g' -e 's|@sysconfdir[@]|$(sysconfdir)|g' \
		$(srcdir)/$@.in >$@.tmp && mv $@.tmp $@

# Who may is the administrator's to say (a group cor), so this is not in /etc.
udevrulesdir = $(prefix)/lib/udev/rules.d
udevrules_DATA = dist/60-cor-userfaultfd.rules

# Examples: the administrator's own files are never overwritten.
exampledir = $(docdir)/examples
example_DATA = dist/cord.conf dist/cord-sends-only.conf

bashcompletiondir = $(datadir)/bash-completion/completions
install-data-local:
	$(MKDIR_P) $(DESTDIR)$(bashcompletiondir)
	$(INSTALL_DATA) $(srcdir)/dist/cor.bash $(DESTDIR)$(bashcompletiondir)/cor
	ln -sf cor $(DESTDIR)$(bashcompletiondir)/cord
uninstall-local:
	rm -f $(DESTDIR)$(bashcompletiondir)/cor $(DESTDIR)$(bashcompletiondir)/cord
