// What a test starts ends when the test does, however that ends: what waits for input would wait on for ever.
#pragma once

#include "base/windows/windows.h"

namespace lora::test {

inline void ends_with_us(HANDLE process) {
  static const HANDLE job = [] {  // closed by the system, which then ends all that are in it
    const HANDLE made = CreateJobObjectW(nullptr, nullptr);
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION limits = {};
    limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
    SetInformationJobObject(made, JobObjectExtendedLimitInformation, &limits, sizeof limits);
    return made;
  }();
  AssignProcessToJobObject(job, process);
}

}  // namespace lora::test
