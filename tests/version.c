/* The smallest user of the installed library, built by ./check with nothing but
 * what pkg-config says. */
#include <cor/cor.h>
#include <stdio.h>

int main(void)
{
	printf("libcor %s\n", cor_version());
	return 0;
}
