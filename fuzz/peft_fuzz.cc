// Any bytes as the files of a PEFT or MLX folder: the config, a zero byte, the tensors. Read or refused with
// lora::Error, with and without what an adapter cannot express. What is read keeps the promises of LoraPair,
// and every tensor has its module's name back.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "adapter/peft_names.h"
#include "adapter_check.h"
#include "base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const size_t end = all.find('\0');
  if (end == all.npos) return 0;
  const std::string_view config = all.substr(0, end);
  const auto tensors = std::as_bytes(std::span(data, size)).subspan(end + 1);
  std::vector<lora::LeftOut> left_out;
  for (std::vector<lora::LeftOut>* may_leave_out :
       {static_cast<std::vector<lora::LeftOut>*>(nullptr), &left_out}) {
    try {
      const lora::Adapter adapter = lora::parse_adapter_peft(config, tensors, {"llama", 2, 1}, may_leave_out);
      check_adapter_is_sound(adapter);
      for (const lora::LoraPair& pair : adapter.pairs) {
        if (!lora::peft_module("llama", pair.base)) __builtin_trap();
      }
    } catch (const lora::Error&) {
    }
  }
  return 0;
}
