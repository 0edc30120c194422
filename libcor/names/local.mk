# names: what a task's names mean elsewhere: descriptors, pipes, sockets.
libcor_protos += libcor/names/files.proto libcor/names/trees.proto
libcor_sources += \
	libcor/names/files.h \
	libcor/names/home/wire.h \
	libcor/names/home/server.c libcor/names/home/server.h libcor/names/home/private.h \
	libcor/names/home/rights.c libcor/names/home/answer.c \
	libcor/names/home/nodes.c libcor/names/home/watch.c libcor/names/home/ops.c \
	libcor/names/home/ops_data.c libcor/names/home/locks.c libcor/names/home/owners.c \
	libcor/names/home/remote.c libcor/names/home/remote.h libcor/names/home/home.h \
	libcor/names/home/fuse.c libcor/names/home/fuse.h libcor/names/home/fuse_parts.h \
	libcor/names/home/fuse_ask.c libcor/names/home/fuse_known.c \
	libcor/names/home/fuse_tell.c libcor/names/home/fuse_expect.c \
	libcor/names/home/fuse_names.c libcor/names/home/fuse_files.c \
	libcor/names/home/process.c libcor/names/home/process.h \
	libcor/names/home/mount.c libcor/names/home/mount.h \
	libcor/names/home/plan.c libcor/names/home/plan.h \
	libcor/names/home/settle.c libcor/names/home/settle.h \
	libcor/names/mechanism.c libcor/names/mechanism.h \
	libcor/names/file_ops.c libcor/names/file_ops.h libcor/names/file_kinds.c \
	libcor/names/file_handle.c libcor/names/file_handle.h libcor/names/file_regular.c \
	libcor/names/file_deleted.c libcor/names/file_deleted.h \
	libcor/names/file_locks.c libcor/names/file_locks.h \
	libcor/names/file_memory.c \
	libcor/names/file_home.c libcor/names/file_home.h \
	libcor/names/file_device.c \
	libcor/names/file_pipe.c \
	libcor/names/file_event.c libcor/names/file_eventfd.c libcor/names/file_eventfd.h \
	libcor/names/file_epoll.c libcor/names/file_inotify.c \
	libcor/names/file_inet.c libcor/names/file_tcp.c libcor/names/file_unix.c libcor/names/file_socketpair.c \
	libcor/names/file_socket.c libcor/names/file_socket.h \
	libcor/names/net/socket.c libcor/names/net/socket.h \
	libcor/names/net/socket_options.c libcor/names/net/socket_options.h \
	libcor/names/net/socket_unread.c libcor/names/net/socket_unread.h \
	libcor/names/net/sock_diag.c libcor/names/net/sock_diag.h \
	libcor/names/net/inet_diag.c libcor/names/net/inet_diag.h \
	libcor/names/net/departure.c libcor/names/net/departure_mend.c libcor/names/net/departure_settle.c \
	libcor/names/net/departure.h libcor/names/net/departure_private.h \
	libcor/names/net/arrival.c libcor/names/net/arrival.h \
	libcor/names/net/inet_addr.c libcor/names/net/inet_addr.h \
	libcor/names/net/tcp_silence.c libcor/names/net/tcp_read.c libcor/names/net/tcp_build.c \
	libcor/names/net/tcp_unread.c libcor/names/net/tcp_unread.h \
	libcor/names/net/tcp_forge.c libcor/names/net/tcp_repair.h \
	libcor/names/net/packet_hold.c libcor/names/net/packet_hold.h \
	libcor/names/net/rtnetlink.c libcor/names/net/rtnetlink.h \
	libcor/names/net/address.c libcor/names/net/address_announce.c libcor/names/net/address.h \
	libcor/names/files_table.c libcor/names/files_table.h \
	libcor/names/files_holders.c libcor/names/files_holders.h \
	libcor/names/files_duplicate.c libcor/names/files_duplicate.h \
	libcor/names/files_capture.c \
	libcor/names/files_check.c libcor/names/files_place.h \
	libcor/names/files_restore.c libcor/names/files_update.c libcor/names/files_park.c \
	libcor/names/files_park_locks.c \
	libcor/names/pump/pump.h libcor/names/pump/private.h \
	libcor/names/pump/queue.c libcor/names/pump/queue.h \
	libcor/names/pump/wire.c libcor/names/pump/wire.h \
	libcor/names/pump/channel.c libcor/names/pump/channel.h libcor/names/pump/state.c \
	libcor/names/pump/end.c libcor/names/pump/end.h libcor/names/pump/end_pipe.c \
	libcor/names/pump/end_task.c libcor/names/pump/end_socket.c \
	libcor/names/pump/net.c libcor/names/pump/net.h libcor/names/pump/tcp.h \
	libcor/names/pump/end_tcp.c libcor/names/pump/end_listener.c \
	libcor/names/pump/forward.c libcor/names/pump/forward.h \
	libcor/names/net/udp_packet.c libcor/names/net/udp_packet.h \
	libcor/names/pump/tun.c libcor/names/pump/tun.h \
	libcor/names/pump/datagram.c libcor/names/pump/datagram.h libcor/names/pump/udp.h \
	libcor/names/pump/end_udp.c libcor/names/pump/end_home_udp.c \
	libcor/names/file_forward.c libcor/names/file_forward.h \
	libcor/names/file_forward_udp.c libcor/names/file_forward_udp.h \
	libcor/names/file_forward_common.c libcor/names/file_forward_common.h \
	libcor/names/net/tcp_special.c libcor/names/net/tcp_special.h \
	libcor/names/net/udp_special.c libcor/names/net/udp_special.h \
	libcor/names/net/multicast.c libcor/names/net/multicast.h \
	libcor/names/pump/tty.c libcor/names/pump/tty.h \
	libcor/names/pump/end_terminal.c libcor/names/pump/end_pty.c \
	libcor/names/pump/process.c libcor/names/pump/conn.c libcor/names/pump/connect.c \
	libcor/names/pump/greet.c libcor/names/pump/show.c \
	libcor/names/pump/control.c libcor/names/pump/client.c \
	libcor/names/file_pump.c libcor/names/file_pump_unread.c libcor/names/file_pump_unread.h
