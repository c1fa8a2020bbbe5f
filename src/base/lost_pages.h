// Pages of mapped files that cannot be read any more, since another program cut the file short or its disk
// failed. The system says so by SIGBUS to the thread that touches such a page, deep in some kernel, where
// nothing can be thrown: so the whole file reads as zeros from then on, the loss is noted, and whoever wants
// to use what came of the reading asks first. A loss stays for the life of a process that catches them; any
// other, which no page of zeros was put under, is only refused to write while the file is mapped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/system_file.h"

namespace lora {

// For programs, once, at their start; the library installs no handler of its own. SIGBUS at an address that
// is not in a MappedFile does what it does by default.
void catch_lost_pages();

// "PATH: cannot be read any more: WHY" of the first file that was lost, "" if none was. As cheap as a flag.
std::string lost_pages();
// Throws that as Error.
void expect_no_lost_pages();

// For MappedFile: the file's first `size` bytes are mapped from now on, and until then. Ending it looks
// whether the file was cut.
void begin_mapping(const FileNumber& file, const void* data, size_t size, const std::string& path);
void end_mapping(const void* data);
// For writers: notes the loss if a system call could not read at the address (EFAULT) and a mapping is there.
// Without catch_lost_pages() this and the next throw the Error themselves, and nothing is noted.
void note_unreadable(const void* address);
// Looks whether a mapped file is shorter now than its mapping: the rest of its last page reads as zeros
// without a signal.
void look_for_cut_files();

// For what the system calls when a page at the address cannot be read: the whole mapping that it lies in
// reads as zeros from now on, and its loss is noted. False if it is none of ours. Allocates and locks
// nothing.
bool lose_mapping_at(uintptr_t address);
// Whether that has been at this address.
bool is_lost_mapping_at(uintptr_t address);
// What catch_lost_pages() asks of the system, which calls lose_mapping_at() from then on.
void catch_page_errors();
// Puts zeros in the place of mapped pages, which `end` is behind; false where the system does not let it.
bool put_zeros(uintptr_t begin, uintptr_t end);

}  // namespace lora
