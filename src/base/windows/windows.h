// <windows.h> without what it would put in the way, and what has to come after it.
#pragma once

#ifndef NOMINMAX
#define NOMINMAX
#endif
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#include <windows.h>
// clang-format off
#include <aclapi.h>
#include <psapi.h>
// clang-format on
