#include "xai/pickle_objects.hpp"

#include <algorithm>
#include <array>

namespace moesaic::converters::pickled {
namespace {

/// A parameter has about a hundred values; a file with more than this is none.
constexpr std::size_t kMostValues = 100'000;
constexpr std::size_t kMostAxes = 32;  // numpy's own limit

struct KnownGlobal {
  std::string_view module, name;
  Global global;
};

constexpr std::array kKnownGlobals{
    KnownGlobal{"numpy.core.multiarray", "_reconstruct", Global::kReconstruct},
    KnownGlobal{"numpy._core.multiarray", "_reconstruct", Global::kReconstruct},
    KnownGlobal{"numpy.core.numeric", "_frombuffer", Global::kFromBuffer},
    KnownGlobal{"numpy._core.numeric", "_frombuffer", Global::kFromBuffer},
    KnownGlobal{"numpy", "ndarray", Global::kNdarray},
    KnownGlobal{"numpy", "dtype", Global::kDtype},
    KnownGlobal{"ml_dtypes", "bfloat16", Global::kBfloat16},
    KnownGlobal{"_codecs", "encode", Global::kEncode},
    KnownGlobal{"builtins", "bytes", Global::kBytes},
    KnownGlobal{"__builtin__", "bytes", Global::kBytes},
    KnownGlobal{"model", "QuantizedWeight8bit", Global::kQuantizedWeight},
    KnownGlobal{"__main__", "QuantizedWeight8bit", Global::kQuantizedWeight},
};

/// A name from the file, fit for a message.
std::string printable(std::string_view text) {
  std::string result;
  for (const char c : text.substr(0, 80)) result += c >= ' ' && c <= '~' ? c : '?';
  return text.size() > 80 ? result + "..." : result;
}

Dtype dtype_from(std::string_view name) {
  if (name == "i1") return {PickledType::kInt8, "int8", 1};
  if (name == "f4") return {PickledType::kFloat32, "float32", 4};
  // Known by its size alone, so that the message about a wrong type can name it.
  std::int64_t item_bytes = 0;
  for (const char digit : name.substr(std::min<std::size_t>(1, name.size()))) {
    if (digit < '0' || digit > '9' || item_bytes > 1000) return {PickledType::kOther, name, 0};
    item_bytes = item_bytes * 10 + (digit - '0');
  }
  return {PickledType::kOther, name, item_bytes};
}

}  // namespace

void Objects::malformed(std::string_view what) const {
  fail("{}: not a parameter of a checkpoint: {} (before byte {})", stream_.source(), what, stream_.position());
}

template <class T>
const T& Objects::as(ValueIdx idx, const char* what) const {
  const T* value = std::get_if<T>(&values_[idx]);
  if (!value) malformed(fmt::format("{} is of an unexpected kind", what));
  return *value;
}

ValueIdx Objects::add(Value value) {
  if (values_.size() >= kMostValues) malformed(fmt::format("more than {} objects", kMostValues));
  values_.push_back(std::move(value));
  return static_cast<ValueIdx>(values_.size() - 1);
}

Global Objects::find_global(std::string_view module, std::string_view name) const {
  for (const auto& known : kKnownGlobals)
    if (known.module == module && known.name == name) return known.global;
  fail("{}: refused: the pickle names '{}.{}', which a checkpoint has no use for; nothing was executed",
       stream_.source(), printable(module), printable(name));
}

ValueIdx Objects::call(ValueIdx callable, ValueIdx arguments_idx) {
  const Global function = as<Global>(callable, "the callable");
  // A copy: adding values moves them.
  const Tuple arguments = as<Tuple>(arguments_idx, "the arguments");
  switch (function) {
    case Global::kReconstruct:
      if (arguments.items.empty() || as<Global>(arguments.items[0], "_reconstruct's class") != Global::kNdarray)
        malformed("_reconstruct of something else than numpy.ndarray");
      return add(Array{});
    case Global::kFromBuffer:
      return call_from_buffer(arguments);
    case Global::kDtype:
      return call_dtype(arguments);
    case Global::kEncode:
      return call_encode(arguments);
    case Global::kBytes:
      if (!arguments.items.empty()) malformed("bytes() with arguments");
      return add(Bytes{});
    case Global::kNdarray:
    case Global::kBfloat16:
      break;
    case Global::kQuantizedWeight:
      return create(callable, arguments_idx);
  }
  malformed("a type is called as a function");
}

/// _codecs.encode(text, "latin1")
ValueIdx Objects::call_encode(const Tuple& arguments) {
  if (arguments.items.size() != 2) malformed("_codecs.encode without two arguments");
  const std::string_view codec = as<Text>(arguments.items[1], "the codec").utf8;
  if (codec != "latin1" && codec != "latin-1") malformed(fmt::format("codec '{}'", printable(codec)));
  const std::string_view utf8 = as<Text>(arguments.items[0], "the text to encode").utf8;
  return add(Bytes{std::as_bytes(std::span(utf8)), true});
}

/// _frombuffer(bytes, dtype, shape, order)
ValueIdx Objects::call_from_buffer(const Tuple& arguments) {
  if (arguments.items.size() != 4) malformed("_frombuffer without four arguments");
  const std::string_view order = as<Text>(arguments.items[3], "the memory order").utf8;
  if (order != "C" && order != "F") malformed(fmt::format("memory order '{}'", printable(order)));
  Array array;
  fill(array, arguments.items[2], arguments.items[1], order == "F", arguments.items[0]);
  return add(std::move(array));
}

/// dtype("i1", False, True) or dtype(ml_dtypes.bfloat16, False, True)
ValueIdx Objects::call_dtype(const Tuple& arguments) {
  if (arguments.items.empty()) malformed("dtype without arguments");
  const Value& kind = values_[arguments.items[0]];
  if (const auto* global = std::get_if<Global>(&kind); global && *global == Global::kBfloat16)
    return add(Dtype{PickledType::kBfloat16, "bfloat16", 2});
  return add(dtype_from(as<Text>(arguments.items[0], "dtype's name").utf8));
}

ValueIdx Objects::create(ValueIdx type, ValueIdx arguments) {
  if (as<Global>(type, "the class") != Global::kQuantizedWeight) malformed("a new object of an unexpected class");
  if (!as<Tuple>(arguments, "the arguments").items.empty()) malformed("QuantizedWeight8bit with arguments");
  return add(QuantizedWeight{});
}

void Objects::set_state(ValueIdx object, ValueIdx state) {
  Value& value = values_[object];
  if (auto* array = std::get_if<Array>(&value))
    set_array_state(*array, as<Tuple>(state, "the array's state"));
  else if (auto* dtype = std::get_if<Dtype>(&value))
    set_dtype_state(*dtype, as<Tuple>(state, "the dtype's state"));
  else if (auto* weight = std::get_if<QuantizedWeight>(&value))
    set_quantized_state(*weight, as<Dict>(state, "QuantizedWeight8bit's state"));
  else
    malformed("a state for an object that has none");
}

/// (version, shape, dtype, is_fortran, bytes)
void Objects::set_array_state(Array& array, const Tuple& state) {
  if (state.items.size() != 5) malformed("an array's state without five items");
  if (integer(state.items[0], "the array's version") != 1) malformed("an array's state of an unknown version");
  fill(array, state.items[1], state.items[2], as<bool>(state.items[3], "the Fortran flag"), state.items[4]);
}

/// (version, byte order, ...)
void Objects::set_dtype_state(Dtype& dtype, const Tuple& state) {
  if (state.items.size() < 2) malformed("a dtype's state without a byte order");
  const std::string_view order = as<Text>(state.items[1], "the byte order").utf8;
  if (order != "<" && order != "|" && order != "=" && order != ">")
    malformed(fmt::format("byte order '{}'", printable(order)));
  dtype.order = order[0];
}

void Objects::set_quantized_state(QuantizedWeight& object, const Dict& state) {
  bool has_weight = false, has_scales = false;
  for (const auto& [key, value] : state.items) {
    const std::string_view name = as<Text>(key, "an attribute's name").utf8;
    (void)as<Array>(value, "an attribute of QuantizedWeight8bit");
    if (name == "weight")
      object.weight = value, has_weight = true;
    else if (name == "scales")
      object.scales = value, has_scales = true;
    else
      malformed(fmt::format("QuantizedWeight8bit has an attribute '{}'", printable(name)));
  }
  if (!has_weight || !has_scales) malformed("QuantizedWeight8bit without weight and scales");
  object.complete = true;
}

void Objects::set_item(ValueIdx dict, ValueIdx key, ValueIdx value) {
  auto* found = std::get_if<Dict>(&values_[dict]);
  if (!found) malformed("items for something that is no dict");
  found->items.emplace_back(key, value);
}

void Objects::fill(Array& into, ValueIdx shape_idx, ValueIdx dtype_idx, bool fortran_order, ValueIdx payload_idx) {
  const Dtype& dtype = as<Dtype>(dtype_idx, "the array's dtype");
  if (dtype.order == '>' && dtype.item_bytes != 1)
    fail("{}: the array is big-endian (dtype '>{}'), expected little-endian", stream_.source(), printable(dtype.name));
  PickledArray array;
  array.type = dtype.type;
  array.type_name = printable(dtype.name);
  array.fortran_order = fortran_order;
  array.item_bytes = dtype.item_bytes;

  std::int64_t size_bytes = dtype.item_bytes;
  const Tuple& shape = as<Tuple>(shape_idx, "the array's shape");
  if (shape.items.size() > kMostAxes) malformed(fmt::format("an array of {} axes", shape.items.size()));
  for (const auto item : shape.items) {
    const std::int64_t extent = integer(item, "the array's shape");
    if (extent < 0 || __builtin_mul_overflow(size_bytes, extent, &size_bytes))
      malformed(fmt::format("an array's extent of {}", extent));
    array.shape.push_back(extent);
  }
  const Bytes& payload = as<Bytes>(payload_idx, "the array's content");
  // A code point of Latin-1 takes one or two bytes of UTF-8.
  const auto found = static_cast<std::int64_t>(payload.bytes.size());
  const bool fits = payload.latin1 ? found >= size_bytes && found / 2 <= size_bytes : found == size_bytes;
  if (!fits) malformed(fmt::format("an array of {} bytes by its shape has {} bytes of content", size_bytes, found));
  array.latin1 = payload.latin1;
  array.payload = payload.bytes;
  into = {true, std::move(array)};
}

PickledTensor Objects::tensor(ValueIdx result) const {
  const auto complete = [&](ValueIdx idx) -> const PickledArray& {
    const Array& array = as<Array>(idx, "the array");
    if (!array.complete) malformed("an array without a state");
    return array.array;
  };
  if (const auto* quantized = std::get_if<QuantizedWeight>(&values_[result])) {
    if (!quantized->complete) malformed("a QuantizedWeight8bit without a state");
    return {complete(quantized->weight), complete(quantized->scales)};
  }
  if (!std::holds_alternative<Array>(values_[result])) malformed("neither an array nor a QuantizedWeight8bit");
  return {complete(result), std::nullopt};
}

}  // namespace moesaic::converters::pickled
