/* An entry of /proc/PID/pagemap (proc(5), Documentation/admin-guide/mm/pagemap.rst). */
#pragma once

#include <stdint.h>

#define PM_PRESENT (UINT64_C(1) << 63)
#define PM_SWAPPED (UINT64_C(1) << 62)
#define PM_FILE    (UINT64_C(1) << 61)          /* of a file, or shared anonymous */
#define PM_GUARD   (UINT64_C(1) << 58)          /* 6.15; zero before */
#define PM_FRAME   ((UINT64_C(1) << 55) - 1)    /* zeros without CAP_SYS_ADMIN */
