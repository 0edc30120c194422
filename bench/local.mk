# cor-bench: each figure beside its floor, one file per subcommand.
bin_PROGRAMS += bench/cor-bench
bench_cor_bench_SOURCES = \
	bench/main.c bench/bench.h bench/util.c \
	bench/report.c bench/report.h \
	bench/rig.c bench/rig.h bench/bare.c bench/bare.h \
	bench/floor.c bench/floor.h bench/floor_net.c bench/floor_mem.c bench/floor_shmem.c \
	bench/files.c bench/home_rig.c bench/home_rig.h \
	bench/import.c bench/fault.c bench/fault.h \
	bench/fault_over.c bench/pin.c bench/remote.c bench/remote.h \
	bench/drain.c bench/warm.c bench/warm.h bench/live.c bench/live.h bench/tls.c \
	bench/freeze.c bench/lab.c bench/lab.h bench/victim.c \
	bench/after.c bench/walker.c bench/walker.h \
	bench/redis.c bench/load.c bench/load.h bench/apart.c bench/apart.h
bench_cor_bench_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
bench_cor_bench_CPPFLAGS = $(AM_CPPFLAGS) -DCOR_LIBEXECDIR='"$(pkglibexecdir)"'
bench_cor_bench_LDADD = libcor/libcor-internal.la $(JANSSON_LIBS) -lm

# What freeze and after move: with no libraries, so that cor-bench's do not count.
pkglibexec_PROGRAMS += bench/cor-bench-task bench/cor-bench-walker
bench_cor_bench_task_SOURCES = bench/task.c
bench_cor_bench_walker_SOURCES = bench/walk.c bench/walker.h

# A short set, a minute or so.
bench: bench/cor-bench$(EXEEXT) bench/cor-bench-task$(EXEEXT) bench/cor-bench-walker$(EXEEXT) cord$(EXEEXT)
	bench/cor-bench floor --runs 1 --count 2000 --size 128M
	bench/cor-bench fault --runs 1 --size 64M --count 1000
	bench/cor-bench drain --runs 3 --sizes 256M
	bench/cor-bench tls --runs 3 --size 256M --count 1000
	bench/cor-bench import --runs 3 --size 256M
	bench/cor-bench freeze --runs 3 --sizes 16M,256M
	bench/cor-bench after --runs 2 --size 64M
	bench/cor-bench redis --runs 1 --size 64M --before 1
	bench/cor-bench files --runs 1 --size 128M --count 500
.PHONY: bench
