// What every adapter that was read promises.
#pragma once

#include "adapter/adapter.h"

inline void check_adapter_is_sound(const lora::Adapter& adapter) {
  for (const lora::LoraPair& pair : adapter.pairs) {
    const bool sound = pair.rank > 0 && pair.n_in > 0 && pair.n_out > 0 &&
                       int64_t(pair.a.size()) == pair.rank * pair.n_in &&
                       int64_t(pair.b.size()) == pair.n_out * pair.rank && adapter.find(pair.base) == &pair;
    if (!sound) __builtin_trap();
  }
}
