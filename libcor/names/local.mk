# names: what a task's names mean elsewhere: descriptors, pipes, sockets.
libcor_protos += libcor/names/files.proto libcor/names/trees.proto
libcor_sources += \
	libcor/names/files.h \
	libcor/names/home_wire.h \
	libcor/names/home_server.c libcor/names/home_server.h libcor/names/home_private.h \
	libcor/names/home_nodes.c libcor/names/home_watch.c libcor/names/home_ops.c \
	libcor/names/home_ops_data.c libcor/names/home_locks.c \
	libcor/names/home_remote.c libcor/names/home_remote.h libcor/names/home.h \
	libcor/names/home_fuse.c libcor/names/home_fuse.h libcor/names/home_fuse_private.h \
	libcor/names/home_fuse_names.c libcor/names/home_fuse_files.c \
	libcor/names/home_process.c libcor/names/home_process.h \
	libcor/names/home_mount.c libcor/names/home_mount.h \
	libcor/names/home_plan.c libcor/names/home_plan.h \
	libcor/names/home_settle.c libcor/names/home_settle.h \
	libcor/names/mechanism.c libcor/names/mechanism.h \
	libcor/names/file_ops.c libcor/names/file_ops.h \
	libcor/names/file_regular.c \
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
	libcor/names/socket_options.c libcor/names/socket_unread.c \
	libcor/names/sock_diag.c libcor/names/sock_diag.h \
	libcor/names/inet_diag.c libcor/names/inet_diag.h \
	libcor/names/departure.c libcor/names/departure_settle.c \
	libcor/names/departure.h libcor/names/departure_private.h \
	libcor/names/arrival.c libcor/names/arrival.h \
	libcor/names/inet_addr.c libcor/names/inet_addr.h \
	libcor/names/tcp_silence.c libcor/names/tcp_read.c libcor/names/tcp_build.c \
	libcor/names/tcp_forge.c libcor/names/tcp_repair.h \
	libcor/names/packet_hold.c libcor/names/packet_hold.h \
	libcor/names/rtnetlink.c libcor/names/rtnetlink.h \
	libcor/names/address.c libcor/names/address_announce.c libcor/names/address.h \
	libcor/names/files_table.c libcor/names/files_table.h \
	libcor/names/files_holders.c libcor/names/files_holders.h \
	libcor/names/files_capture.c \
	libcor/names/files_check.c libcor/names/files_place.h \
	libcor/names/files_restore.c libcor/names/files_update.c libcor/names/files_park.c \
	libcor/names/files_park_locks.c \
	libcor/names/pump.h libcor/names/pump_private.h \
	libcor/names/pump_queue.c libcor/names/pump_queue.h \
	libcor/names/pump_wire.c libcor/names/pump_wire.h \
	libcor/names/pump_channel.c libcor/names/pump_channel.h libcor/names/pump_state.c \
	libcor/names/pump_end.c libcor/names/pump_end.h libcor/names/pump_end_pipe.c \
	libcor/names/pump_end_task.c libcor/names/pump_end_socket.c \
	libcor/names/pump_net.c libcor/names/pump_net.h libcor/names/pump_tcp.h \
	libcor/names/pump_end_tcp.c libcor/names/pump_end_listener.c \
	libcor/names/pump_forward.c libcor/names/pump_forward.h \
	libcor/names/udp_packet.c libcor/names/udp_packet.h \
	libcor/names/pump_tun.c libcor/names/pump_tun.h \
	libcor/names/pump_datagram.c libcor/names/pump_datagram.h libcor/names/pump_udp.h \
	libcor/names/pump_end_udp.c libcor/names/pump_end_home_udp.c \
	libcor/names/file_forward.c libcor/names/file_forward_udp.c libcor/names/file_forward.h \
	libcor/names/udp_special.c libcor/names/multicast.c libcor/names/multicast.h \
	libcor/names/pump_tty.c libcor/names/pump_tty.h \
	libcor/names/pump_end_terminal.c libcor/names/pump_end_pty.c \
	libcor/names/pump_process.c libcor/names/pump_conn.c libcor/names/pump_connect.c \
	libcor/names/pump_greet.c libcor/names/pump_show.c \
	libcor/names/pump_control.c libcor/names/pump_client.c \
	libcor/names/file_pump.c
