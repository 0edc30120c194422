/* Kinds of descriptor that files.c has from elsewhere. */
#pragma once

/* files_content.c: files that are followed by what they hold. One that was deleted, one that
 * never had a name, one that is mapped shared and writable, one that is written by write(2) and
 * read through a mapping. */
void files_deleted_setup(void);
void files_deleted_verify(void);
void files_tmpfile_setup(void);
void files_tmpfile_verify(void);
void files_mapped_setup(void);
void files_mapped_verify(void);
void files_mapped_finish(void);
void files_followed_setup(void);
void files_followed_verify(void);
void files_followed_finish(void);
