/* The runner's code: copied into a region of the tracee and run there.
 *
 * In:	r12	address of the first struct cor_call (64 bytes each: nr, six
 *		arguments, return value)
 *	r13	number of calls
 *	r14	non-zero: stop behind the first call that fails
 *	r15	address of the thread's struct way_back (inject.c)
 * Out:	rbx	number of calls made; then the thread sends itself a signal, which
 *		stops it as its tracer is told.
 *
 * Without a tracer, because that was killed meanwhile, the signal is one that does
 * nothing, and the thread finds its own way back to where it was.
 *
 * Position independent, no stack, no memory but list and way back. It is data of
 * ours, never run here.
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
	movl	$186, %eax		/* gettid(2), as the thread itself is numbered */
	syscall
	movl	%eax, %edi
	movl	152(%r15), %esi
	movl	$200, %eax		/* tkill(2) */
	syscall
	.globl	cor_inject_code_stop
	.hidden	cor_inject_code_stop
cor_inject_code_stop:			/* where rip is in the stop */
	testl	%eax, %eax
	jz	.Lback
	int3				/* the task's own filter forbids it */
	.globl	cor_inject_code_trap
	.hidden	cor_inject_code_trap
cor_inject_code_trap:			/* where rip is after that */
.Lback:
	leaq	144(%r15), %rsp		/* while all signals are blocked */
	popfq
	movq	136(%r15), %rsp
	movl	$14, %eax		/* rt_sigprocmask(SIG_SETMASK, the mask, NULL, 8) */
	movl	$2, %edi
	movq	%r15, %rsi
	movl	$0, %edx		/* from here nothing changes the flags */
	movl	$8, %r10d
	syscall
	movq	16(%r15), %r14
	movq	24(%r15), %r13
	movq	32(%r15), %r12
	movq	40(%r15), %rbp
	movq	48(%r15), %rbx
	movq	56(%r15), %r11
	movq	64(%r15), %r10
	movq	72(%r15), %r9
	movq	80(%r15), %r8
	movq	88(%r15), %rax
	movq	96(%r15), %rcx
	movq	104(%r15), %rdx
	movq	112(%r15), %rsi
	movq	120(%r15), %rdi
	leaq	160(%r15), %r15
	jmp	*%r15			/* its last two instructions are in the way back itself */
	.globl	cor_inject_code_end
	.hidden	cor_inject_code_end
cor_inject_code_end:
	.size	cor_inject_code, . - cor_inject_code

	.section .note.GNU-stack, "", @progbits
