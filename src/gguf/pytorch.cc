#include "gguf/pytorch.h"

#include <zip.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "base/error.h"
#include "base/file_kind.h"
#include "base/printable.h"
#include "gguf/gguf_format.h"
#include "gguf/pickle.h"

namespace lora {
namespace {

using Kind = PickleNode::Kind;

constexpr uint64_t kMaxPickleBytes = 16
                                     << 20;  // a tensor takes some 150, so about a hundred thousand of them

// Storage classes and dtypes of torch, with the names that safetensors has for them.
struct Dtype {
  std::string_view torch, name;
};
constexpr Dtype kDtypes[] = {
    {"torch FloatStorage", "F32"},
    {"torch HalfStorage", "F16"},
    {"torch BFloat16Storage", "BF16"},
    {"torch DoubleStorage", "F64"},
    {"torch ByteStorage", "U8"},
    {"torch CharStorage", "I8"},
    {"torch ShortStorage", "I16"},
    {"torch IntStorage", "I32"},
    {"torch LongStorage", "I64"},
    {"torch BoolStorage", "BOOL"},
    {"torch.storage UntypedStorage", ""},
    {"torch UntypedStorage", ""},
    {"torch float32", "F32"},
    {"torch float16", "F16"},
    {"torch bfloat16", "BF16"},
    {"torch float8_e4m3fn", "F8_E4M3"},
    {"torch float8_e5m2", "F8_E5M2"},
};

constexpr std::string_view kTensor2 = "torch._utils _rebuild_tensor_v2";
constexpr std::string_view kTensor3 =
    "torch._utils _rebuild_tensor_v3";  // with a dtype that has no storage class
constexpr std::string_view kParameter = "torch._utils _rebuild_parameter";

std::vector<std::string_view> allowed_globals() {
  std::vector<std::string_view> names = {kTensor2, kTensor3, kParameter, "torch Size"};
  for (const Dtype& row : kDtypes) names.push_back(row.torch);
  return names;
}

struct Entry {
  std::string name;
  uint64_t bytes = 0;
};

}  // namespace

struct PytorchFile::Archive {
  std::unique_ptr<zip_t, void (*)(zip_t*)> zip{nullptr, zip_discard};
  std::vector<Entry> entries;
  std::string prefix;  // "NAME/"

  const Entry* find(std::string_view name) const {
    const auto found = std::find_if(entries.begin(), entries.end(), [&](const Entry& e) {
      return e.name.size() == prefix.size() + name.size() && e.name.starts_with(prefix) &&
             e.name.ends_with(name);
    });
    return found == entries.end() ? nullptr : &*found;
  }
  uint64_t index(const Entry& entry) const { return uint64_t(&entry - entries.data()); }

  // Bytes [begin, begin + into.size()) of an entry.
  void read(uint64_t entry, uint64_t begin, std::span<std::byte> into, const std::string& path) const {
    const std::unique_ptr<zip_file_t, int (*)(zip_file_t*)> file(zip_fopen_index(zip.get(), entry, 0),
                                                                 zip_fclose);
    const auto refuse = [&] {
      fail("{}: archive entry {}: cannot be read: {}", path, printable(entries[entry].name),
           file ? zip_file_strerror(file.get()) : zip_strerror(zip.get()));
    };
    if (!file || (begin > 0 && zip_fseek(file.get(), zip_int64_t(begin), SEEK_SET) != 0)) refuse();
    while (!into.empty()) {
      const zip_int64_t n = zip_fread(file.get(), into.data(), into.size());
      if (n <= 0) refuse();
      into = into.subspan(size_t(n));
    }
    // The checksum is compared where the entry ends.
    std::byte beyond;
    if (begin == 0 && zip_fread(file.get(), &beyond, 1) < 0) refuse();
  }
};

namespace {

void open_archive(std::unique_ptr<zip_t, void (*)(zip_t*)>& zip, std::vector<Entry>& entries,
                  std::span<const std::byte> bytes, const std::string& path) {
  if (bytes.size() < 2 || std::memcmp(bytes.data(), "PK", 2) != 0) {
    refuse_known_kind(bytes, path, "a file of torch.save");
    fail("{}: not a zip archive; files of PyTorch before 1.6 must be loaded and saved again by a newer one",
         path);
  }
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t* source = zip_source_buffer_create(bytes.data(), bytes.size(), 0, &error);
  if (source) zip.reset(zip_open_from_source(source, ZIP_RDONLY, &error));
  if (!zip) {
    if (source) zip_source_free(source);
    const std::string why = zip_error_strerror(&error);
    zip_error_fini(&error);
    fail("{}: not a readable zip archive: {}", path, why);
  }
  uint64_t sum = 0;
  const zip_int64_t n = zip_get_num_entries(zip.get(), 0);
  for (zip_int64_t i = 0; i < n; ++i) {
    zip_stat_t stat;
    if (zip_stat_index(zip.get(), zip_uint64_t(i), 0, &stat) != 0 || !(stat.valid & ZIP_STAT_NAME) ||
        !(stat.valid & ZIP_STAT_SIZE) || !(stat.valid & ZIP_STAT_COMP_METHOD)) {
      fail("{}: malformed zip archive: entry {} has no description", path, i);
    }
    if (stat.comp_method != ZIP_CM_STORE) {
      fail("{}: archive entry {}: refused: compressed, which torch.save never does", path,
           printable(stat.name));
    }
    if (stat.size > bytes.size() - sum) {
      fail("{}: archive entry {}: refused: its {} bytes do not fit into a file of {}", path,
           printable(stat.name), stat.size, bytes.size());
    }
    sum += stat.size;
    entries.push_back({stat.name, stat.size});
  }
}

// A tensor of the pickle; `find` looks a storage up.
struct TensorReader {
  const Pickle& pickle;
  const std::string& path;
  PytorchTensor tensor;
  std::string where;

  [[noreturn]] void refuse(std::string_view why) const { fail("{}: {}", where, why); }

  const PickleNode& argument(const PickleNode& tuple, size_t i, Kind kind) const {
    if (tuple.children.size() <= i || pickle.child(tuple, i).kind != kind) refuse("malformed");
    return pickle.child(tuple, i);
  }

  std::vector<int64_t> sizes(const PickleNode& node) const {
    const PickleNode* list = &node;
    if (node.kind == Kind::call)
      list = &argument(pickle.child(node, 1), 0, Kind::tuple);  // torch.Size([...])
    if (list->kind != Kind::tuple) refuse("malformed");
    if (list->children.size() > 8) refuse("has too many dimensions");
    std::vector<int64_t> result;
    for (size_t i = 0; i < list->children.size(); ++i) {
      result.push_back(argument(*list, i, Kind::integer).integer);
      if (result.back() < 0) refuse("a size is negative");
    }
    return result;
  }

  void set_dtype(const PickleNode& global) {
    for (const Dtype& row : kDtypes) {
      if (row.torch == global.text) tensor.dtype = row.name;
    }
  }

  // The storage's key, e.g. "0".
  std::string_view read(const PickleNode& value) {
    const PickleNode* node = &value;
    if (node->kind == Kind::call && pickle.child(*node, 0).text == kParameter) {
      node = &argument(pickle.child(*node, 1), 0, Kind::call);
    }
    const std::string_view function =
        node->kind == Kind::call ? pickle.child(*node, 0).text : std::string_view();
    if (function != kTensor2 && function != kTensor3) refuse("not a tensor");
    const PickleNode& arguments = pickle.child(*node, 1);
    const PickleNode& storage = pickle.child(argument(arguments, 0, Kind::persistent), 0);
    if (storage.kind != Kind::tuple) refuse("malformed");
    set_dtype(argument(storage, 1, Kind::global));
    if (function == kTensor3) set_dtype(argument(arguments, 6, Kind::global));
    if (tensor.dtype.empty()) refuse("its dtype is not supported");
    tensor.offset = argument(arguments, 1, Kind::integer).integer;
    if (arguments.children.size() < 4) refuse("malformed");
    tensor.shape = sizes(pickle.child(arguments, 2));
    tensor.stride = sizes(pickle.child(arguments, 3));
    if (tensor.shape.size() != tensor.stride.size())
      refuse("has another number of strides than of dimensions");
    return argument(storage, 2, Kind::text).text;
  }

  void check_bounds(uint64_t storage_bytes) {
    tensor.element_bytes = dtype_bytes(tensor.dtype);
    const int64_t in_storage = int64_t(storage_bytes) / tensor.element_bytes;
    int64_t elements = 1, last = tensor.offset;
    bool fits = last >= 0;
    for (size_t i = 0; i < tensor.shape.size() && fits; ++i) {
      const auto product = checked_product(elements, tensor.shape[i]);
      const auto step = checked_product(std::max<int64_t>(tensor.shape[i] - 1, 0), tensor.stride[i]);
      fits = product && step && *step <= INT64_MAX - last;
      elements = product.value_or(0);
      last += fits ? *step : 0;
    }
    // More elements than the storage has: one of them repeated, which is no weight.
    if (!fits || elements > in_storage || (elements > 0 && last >= in_storage)) {
      refuse(fmt::format("reaches beyond its storage of {} values", in_storage));
    }
    tensor.n_elements = elements;
  }
};

}  // namespace

PytorchFile::PytorchFile() : archive_(std::make_unique<Archive>()) {}
PytorchFile::~PytorchFile() = default;
PytorchFile::PytorchFile(PytorchFile&&) noexcept = default;
PytorchFile& PytorchFile::operator=(PytorchFile&&) noexcept = default;

PytorchFile PytorchFile::open(const std::string& path) {
  MappedFile file(path);
  PytorchFile result = parse(file.bytes(), path);
  result.file_ = std::move(file);
  return result;
}

PytorchFile PytorchFile::parse(std::span<const std::byte> bytes, const std::string& path) {
  PytorchFile result;
  result.path_ = path;
  Archive& archive = *result.archive_;
  open_archive(archive.zip, archive.entries, bytes, path);
  constexpr std::string_view pickle_name = "/data.pkl";
  const auto pickle_entry = std::find_if(archive.entries.begin(), archive.entries.end(),
                                         [&](const Entry& e) { return e.name.ends_with(pickle_name); });
  if (pickle_entry == archive.entries.end()) fail("{}: not a file of torch.save: no data.pkl in it", path);
  archive.prefix = pickle_entry->name.substr(0, pickle_entry->name.size() - pickle_name.size() + 1);
  if (pickle_entry->bytes > kMaxPickleBytes) {
    fail("{}: its pickle takes {} bytes, expected at most {}", path, pickle_entry->bytes, kMaxPickleBytes);
  }
  if (const Entry* order = archive.find("byteorder")) {
    std::string text(std::min<size_t>(order->bytes, 16), '\0');
    archive.read(archive.index(*order), 0, std::as_writable_bytes(std::span(text)), path);
    if (text != "little") fail("{}: its byte order is '{}', expected 'little'", path, printable(text));
  }
  std::vector<std::byte> program(static_cast<size_t>(pickle_entry->bytes));
  archive.read(archive.index(*pickle_entry), 0, program, path);
  const Pickle pickle = parse_pickle(program, allowed_globals(), path);
  const PickleNode& root = pickle.nodes[pickle.root];
  if (root.kind != Kind::dict) fail("{}: holds no dictionary of tensors", path);
  const std::string folder = archive.prefix + "data/";
  std::map<std::string_view, const Entry*> storages;  // by their keys
  for (const Entry& entry : archive.entries) {
    if (entry.name.starts_with(folder))
      storages.emplace(std::string_view(entry.name).substr(folder.size()), &entry);
  }
  std::set<std::string_view> names;
  for (size_t i = 0; i + 1 < root.children.size(); i += 2) {
    const PickleNode& key = pickle.child(root, i);
    if (key.kind != Kind::text) fail("{}: holds no dictionary of tensors", path);
    TensorReader reader{pickle, path, {}, fmt::format("{}: tensor '{}'", path, printable(key.text))};
    if (!names.insert(key.text).second) reader.refuse("occurs twice");
    const std::string_view key_of_storage = reader.read(pickle.child(root, i + 1));
    if (key_of_storage.size() > 100) reader.refuse("malformed");  // it is a number, and may be many tensors'
    const auto found = storages.find(key_of_storage);
    if (found == storages.end()) {
      reader.refuse(fmt::format("its storage {}{} is not in the archive", printable(folder),
                                printable(key_of_storage)));
    }
    reader.check_bounds(found->second->bytes);
    reader.tensor.name = key.text;
    reader.tensor.entry = archive.index(*found->second);
    result.tensors_.push_back(std::move(reader.tensor));
  }
  return result;
}

SafeTensor PytorchFile::read(const PytorchTensor& tensor, std::vector<std::byte>& into) const {
  const int n_dims = int(tensor.shape.size());
  const auto bytes = size_t(tensor.element_bytes);
  int64_t last = 0, dense = 1;
  bool contiguous = true;
  for (int i = n_dims - 1; i >= 0; --i) {
    const int64_t n = tensor.shape[size_t(i)], stride = tensor.stride[size_t(i)];
    if (n > 1 && stride != dense) contiguous = false;
    dense *= n;
    last += (n - 1) * stride;
  }
  if (tensor.n_elements == 0) return {tensor.name, tensor.dtype, tensor.shape, {}};
  into.resize(size_t(last + 1) * bytes);
  archive_->read(tensor.entry, uint64_t(tensor.offset) * bytes, into, path_);
  if (!contiguous) {
    std::vector<std::byte> gathered(size_t(tensor.n_elements) * bytes);
    std::vector<int64_t> at(size_t(n_dims), 0);
    int64_t from = 0;
    for (int64_t to = 0; to < tensor.n_elements; ++to) {
      std::memcpy(gathered.data() + size_t(to) * bytes, into.data() + size_t(from) * bytes, bytes);
      for (int i = n_dims - 1; i >= 0; --i) {
        from += tensor.stride[size_t(i)];
        if (++at[size_t(i)] < tensor.shape[size_t(i)]) break;
        from -= tensor.shape[size_t(i)] * tensor.stride[size_t(i)];
        at[size_t(i)] = 0;
      }
    }
    into = std::move(gathered);
  }
  return {tensor.name, tensor.dtype, tensor.shape, into};
}

}  // namespace lora
