/* The runner's code: copied into a region of the tracee and run there.
 *
 * In:	r12	address of the first struct cor_call (64 bytes each: nr, six
 *		arguments, return value)
 *	r13	number of calls
 *	r14	non-zero: stop behind the first call that fails
 * Out:	rbx	number of calls made; then int3.
 *
 * Position independent, no stack, no memory but the list. It is data of ours,
 * never run here.
 */
	.section .rodata
	.balign	16
	.globl	cor_inject_code
	.hidden	cor_inject_code
	.type	cor_inject_code, @object
cor_inject_code:
	xorl	%ebx, %ebx
.Lnext:
	testq	%r13, %r13
	jz	.Lend
	movq	(%r12), %rax
	movq	8(%r12), %rdi
	movq	16(%r12), %rsi
	movq	24(%r12), %rdx
	movq	32(%r12), %r10
	movq	40(%r12), %r8
	movq	48(%r12), %r9
	.globl	cor_inject_code_syscall
	.hidden	cor_inject_code_syscall
cor_inject_code_syscall:
	syscall
	movq	%rax, 56(%r12)
	incq	%rbx
	decq	%r13
	addq	$64, %r12
	cmpq	$-4096, %rax		/* the kernel's errors are -4095..-1 */
	jbe	.Lnext
	testq	%r14, %r14
	jz	.Lnext
.Lend:
	int3
	.globl	cor_inject_code_trap
	.hidden	cor_inject_code_trap
cor_inject_code_trap:			/* where rip is after the trap */
	.globl	cor_inject_code_end
	.hidden	cor_inject_code_end
cor_inject_code_end:
	.size	cor_inject_code, . - cor_inject_code

	.section .note.GNU-stack, "", @progbits
