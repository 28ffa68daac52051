#pragma once

#include <string_view>
#include <vector>

#include "xai/pickle_stream.hpp"
#include "xai/pickle_values.hpp"

namespace moesaic::converters::pickled {

/// All values of one pickle, and what its few globals do with them.
class Objects {
 public:
  explicit Objects(const PickleStream& stream) : stream_(stream) {}

  ValueIdx add(Value value);
  const Value& operator[](ValueIdx idx) const { return values_[idx]; }

  /// Error names a global that is not on the list.
  Global find_global(std::string_view module, std::string_view name) const;
  /// callable(*arguments), for the functions on the list.
  ValueIdx call(ValueIdx callable, ValueIdx arguments);
  /// class.__new__(class, *arguments)
  ValueIdx create(ValueIdx type, ValueIdx arguments);
  /// object.__setstate__(state)
  void set_state(ValueIdx object, ValueIdx state);
  void set_item(ValueIdx dict, ValueIdx key, ValueIdx value);

  PickledTensor tensor(ValueIdx result) const;

  [[noreturn]] void malformed(std::string_view what) const;

 private:
  template <class T>
  const T& as(ValueIdx idx, const char* what) const;

  ValueIdx call_encode(const Tuple& arguments);
  ValueIdx call_from_buffer(const Tuple& arguments);
  ValueIdx call_dtype(const Tuple& arguments);
  void set_array_state(Array& array, const Tuple& state);
  void set_dtype_state(Dtype& dtype, const Tuple& state);
  void set_quantized_state(QuantizedWeight& object, const Dict& state);
  void fill(Array& array, ValueIdx shape, ValueIdx dtype, bool fortran_order, ValueIdx payload);
  std::int64_t integer(ValueIdx idx, const char* what) const { return as<std::int64_t>(idx, what); }

  const PickleStream& stream_;
  std::vector<Value> values_;
};

}  // namespace moesaic::converters::pickled
