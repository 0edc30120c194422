# transport: moves page requests and bytes.
libcor_sources += libcor/transport/choice.c libcor/transport/choice.h
libcor_sources += libcor/transport/lane.c libcor/transport/lane.h
libcor_sources += libcor/transport/preamble.c libcor/transport/preamble.h
libcor_sources += libcor/transport/stream.c libcor/transport/stream.h
libcor_sources += libcor/transport/stream_tcp.c
libcor_sources += libcor/transport/stream_fault.c libcor/transport/stream_fault.h
libcor_sources += libcor/transport/stream_delay.c
libcor_sources += libcor/transport/stream_tls.c libcor/transport/tls_private.h
libcor_sources += libcor/transport/tls.c libcor/transport/tls.h
libcor_sources += libcor/transport/psk_file.c
libcor_sources += libcor/transport/fault_parse.c
libcor_sources += libcor/transport/tcp.c libcor/transport/tcp.h
libcor_sources += libcor/transport/transport.c libcor/transport/transport.h
# reaching remote memory; the libraries are loaded when they are needed
libcor_sources += libcor/transport/rdma.c libcor/transport/rdma.h libcor/transport/rdma_message.h
libcor_sources += libcor/transport/stream_rdma.c libcor/transport/stream_rdma.h
if HAVE_FABRIC
libcor_sources += libcor/transport/fabric.c libcor/transport/fabric_base.h \
	libcor/transport/fabric_qp.c libcor/transport/fabric_msg.c libcor/transport/fabric_rdm.c \
	libcor/transport/fabric_base.c libcor/transport/fabric_shm.c
endif
if HAVE_VERBS
libcor_sources += libcor/transport/verbs.c libcor/transport/verbs_base.h \
	libcor/transport/verbs_cm.c libcor/transport/verbs_qp.c libcor/transport/verbs_foreign.c
endif
