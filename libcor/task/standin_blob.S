/* The stand-in's program (standin_program.c), as data. */
	.section .rodata
	.balign	16
	.globl	cor_standin_program
	.hidden	cor_standin_program
	.type	cor_standin_program, @object
cor_standin_program:
	.incbin	"libcor/task/standin-program"
	.globl	cor_standin_program_end
	.hidden	cor_standin_program_end
cor_standin_program_end:
	.size	cor_standin_program, . - cor_standin_program
	.section .note.GNU-stack, "", @progbits
