# shellcheck shell=bash
# Debian's kernels, to boot and not to install: downloaded, unpacked and made ready in
# a cache outside of the source tree. Sourced by bash; see docs/testing.md.
#
#	vm_kernel 6.12             makes it ready; VM_RELEASE, VM_DIR
#	vm_siw                     ... and builds its soft-iWARP module, which Debian leaves out
#
# A function that cannot have what it needs says why in VM_REASON and returns 1. In
# $VM_CACHE/6.12 there are then
#
#	release         the kernel's name; written last
#	vmlinux         the kernel, not compressed
#	boot.cpio       an initramfs with the modules that lead to the root file system,
#	boot.modules    namely these
#	lib/modules/    all of the modules
VM_CACHE=${COR_VM_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/cor-vm}
PATH=$PATH:/usr/sbin:/sbin
VM_RELEASE=
VM_DIR=
VM_REASON=

# In the order in which they are loaded; what they need is found by modprobe.
VM_BOOT_MODULES=(virtio_pci virtio_console virtio_blk ext4 9pnet_virtio 9p overlay)

# shellcheck disable=SC2034 # for the caller
vm_because()
{
	VM_REASON=$*
	return 1
}

vm_tools()
{
	local tool

	for tool; do
		command -v "$tool" >/dev/null || vm_because "$tool is not installed" || return
	done
}

# The newest package of a kernel's version for which there is a name, without those for
# clouds (which lack RDMA), for real time, and for debugging.
vm_image()
{
	apt-cache pkgnames "linux-image-$1." | grep -E '^linux-image-[0-9.]+[-+][^-]+-amd64$' |
		sort -V | tail -n 1
}

# vm_download DIR PACKAGE[=VERSION]...: unpacked into DIR.
vm_download()
{
	local dir=$1 debs=$VM_DIR/debs package

	shift
	mkdir -p "$debs" "$dir"
	for package; do
		rm -f "$debs"/*.deb
		if ! (cd "$debs" && apt-get -q download "$package") >>"$VM_DIR/log" 2>&1; then
			vm_because "the package $package cannot be downloaded"
			return
		fi
		dpkg-deb -x "$debs"/*.deb "$dir" 2>>"$VM_DIR/log" ||
			vm_because "the package $package cannot be unpacked" || return
	done
	rm -rf "$debs"
}

# vm_number FILE OFFSET SIZE: little-endian, out of a file.
vm_number()
{
	od -An -v -t "u$3" -j "$2" -N "$3" "$1" | tr -d ' '
}

# A bzImage holds the kernel as a compressed ELF image; its header says where
# (Documentation/arch/x86/boot.rst: setup_sects, payload_offset, payload_length). QEMU
# starts that image by its PVH entry, so nothing is decompressed under emulation.
vm_extract()
{
	local bzimage=$1 start size magic unpack

	start=$((($(vm_number "$bzimage" $((0x1f1)) 1) + 1) * 512 + $(vm_number "$bzimage" $((0x248)) 4)))
	size=$(vm_number "$bzimage" $((0x24c)) 4)
	magic=$(od -An -v -t x1 -j $start -N 4 "$bzimage" | tr -d ' ')
	case $magic in
	28b52ffd) unpack='zstd -dcq' ;;
	fd377a58) unpack='xz -dcq --single-stream' ;;
	1f8b*) unpack='gzip -dcq' ;;
	*) vm_because "an unknown compression of the kernel: $magic"; return ;;
	esac
	vm_tools "${unpack%% *}" || return
	# the build puts the size of the image behind it, at which the programs complain
	tail -c +$((start + 1)) "$bzimage" | head -c "$size" | $unpack >"$2" 2>/dev/null
	[ "$(head -c 4 "$2" | tail -c 3)" = ELF ] || vm_because "no kernel found in $bzimage"
}

# The modules' files, what they need first, each once.
vm_module_files()
{
	local module

	for module; do
		modprobe -d "$VM_DIR" -S "$VM_RELEASE" --show-depends "$module" || return
	done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }'
}

# The names of the modules in their order are in its file modules.list.
vm_initramfs()
{
	local root=$VM_DIR/root file name files

	rm -rf "$root"
	mkdir -p "$root/bin" "$root/modules"
	cp "$(command -v busybox)" "$root/bin/busybox"
	files=$(vm_module_files "${VM_BOOT_MODULES[@]}") ||
		vm_because "a module is not in the kernel's package" || return
	for file in $files; do
		name=$(basename "${file%.xz}")
		case $file in
		*.xz) xz -dc "$file" >"$root/modules/$name" ;;
		*) cp "$file" "$root/modules/$name" ;;
		esac
		# the signatures go too: nothing here asks for them, and they take their time
		strip -g "$root/modules/$name"
		echo "$name" >>"$root/modules.list"
	done
	(cd "$root" && find . | cpio -o -H newc --quiet) >"$VM_DIR/boot.cpio"
	rm -rf "$root"
	echo "${VM_BOOT_MODULES[*]}" >"$VM_DIR/boot.modules"
}

vm_make()
{
	local version=$1 package boot

	package=$(vm_image "$version")
	if [ -z "$package" ] && [ "$(id -u)" = 0 ]; then
		apt-get -q update >>"$VM_DIR/log" 2>&1
		package=$(vm_image "$version")
	fi
	[ -n "$package" ] || vm_because "apt knows no package of a kernel $version" || return
	vm_download "$VM_DIR/image" "$package" || return
	VM_RELEASE=${package#linux-image-}
	boot=$VM_DIR/image/boot/vmlinuz-$VM_RELEASE
	vm_extract "$boot" "$VM_DIR/vmlinux" || return
	rm -rf "${VM_DIR:?}/lib"
	mv "$VM_DIR/image/lib" "$VM_DIR/lib"
	rm -rf "$VM_DIR/image"
	depmod -b "$VM_DIR" "$VM_RELEASE" || vm_because "depmod failed" || return
	echo "$VM_RELEASE" >"$VM_DIR/release"
}

vm_ready()
{
	[ -s "$VM_DIR/release" ] || vm_make "$1" || return
	VM_RELEASE=$(<"$VM_DIR/release")
	[ "$(cat "$VM_DIR/boot.modules" 2>/dev/null)" = "${VM_BOOT_MODULES[*]}" ] || vm_initramfs
}

# Whoever comes second waits and finds it there.
vm_kernel()
{
	local lock status=0

	VM_DIR=$VM_CACHE/$1
	mkdir -p "$VM_DIR" || vm_because "$VM_DIR cannot be made" || return
	vm_tools flock || return
	exec {lock}>>"$VM_DIR/lock"
	flock "$lock"
	vm_tools apt-cache apt-get dpkg-deb depmod modprobe strip cpio xz busybox &&
		vm_ready "$1" || status=1
	exec {lock}>&-
	return $status
}

# ---- soft-iWARP ----------------------------------------------------------------

vm_siw_build()
{
	local kernel=$1 build=$VM_DIR/siw version headers source

	version=$(apt-cache show "linux-image-$VM_RELEASE" | sed -n 's/^Version: //p' | head -n 1)
	headers=$build/usr/src/linux-headers-$VM_RELEASE
	# shellcheck disable=SC2046
	vm_download "$build" "linux-source-$kernel=$version" "linux-headers-$VM_RELEASE" \
		$(apt-cache depends "linux-headers-$VM_RELEASE" |
			sed -n 's/^ *Depends: \(linux-\(headers\|kbuild\)-.*\)$/\1/p') || return
	source=linux-source-$kernel
	tar -C "$build" -xf "$build/usr/src/$source.tar.xz" "$source/drivers/infiniband/sw/siw" ||
		vm_because "no soft-iWARP in $source" || return
	# the headers' Makefile names the directory where they would have been installed
	sed -i "s|^include /usr/src|include $build/usr/src|" "$headers/Makefile"
	# modules with BTF would need the compiled kernel
	make -C "$headers" M="$build/$source/drivers/infiniband/sw/siw" CONFIG_RDMA_SIW=m \
		CONFIG_DEBUG_INFO_BTF_MODULES= modules >>"$VM_DIR/log" 2>&1 ||
		vm_because "soft-iWARP does not build, see $VM_DIR/log" || return
	install -D -m 644 -t "$VM_DIR/lib/modules/$VM_RELEASE/updates" \
		"$build/$source/drivers/infiniband/sw/siw/siw.ko"
	strip -g "$VM_DIR/lib/modules/$VM_RELEASE/updates/siw.ko"
	depmod -b "$VM_DIR" "$VM_RELEASE"
}

vm_siw()
{
	local lock status=0

	exec {lock}>>"$VM_DIR/lock"
	flock "$lock"
	if [ ! -s "$VM_DIR/lib/modules/$VM_RELEASE/updates/siw.ko" ]; then
		vm_tools apt-cache apt-get dpkg-deb make gcc xz tar &&
			vm_siw_build "$(basename "$VM_DIR")" || status=1
		rm -rf "$VM_DIR/siw"
	fi
	exec {lock}>&-
	return $status
}
