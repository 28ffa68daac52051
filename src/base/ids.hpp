#pragma once

#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "base/range.hpp"

/// Index spaces as types: an expert's number is no slot's, a layer of the model no layer of a stage. What lies in
/// messages, files and buffers of kernels are plain integers; they become ids where they are read.
namespace moesaic {

/// An index into the space that Tag names.
template <class Tag>
class Id {
 public:
  constexpr Id() = default;
  constexpr explicit Id(std::integral auto value) : value_(static_cast<std::int32_t>(value)) {}

  constexpr std::int32_t value() const { return value_; }
  constexpr std::size_t index() const { return static_cast<std::size_t>(value_); }
  constexpr Id next() const { return Id(value_ + 1); }
  constexpr Id& operator++() {
    ++value_;
    return *this;
  }
  friend constexpr auto operator<=>(Id, Id) = default;

  /// Ids are integers in JSON.
  template <class Json>
  friend void to_json(Json& json, Id id) {
    json = id.value();
  }

 private:
  std::int32_t value_ = 0;
};

/// Half-open range of ids; a loop over it visits them in ascending order.
template <class IdType>
class IdRange {
 public:
  class Iterator {
   public:
    constexpr explicit Iterator(IdType id) : id_(id) {}
    constexpr IdType operator*() const { return id_; }
    constexpr Iterator& operator++() {
      ++id_;
      return *this;
    }
    friend constexpr bool operator==(Iterator, Iterator) = default;

   private:
    IdType id_;
  };

  constexpr IdRange() = default;
  constexpr IdRange(IdType first, IdType end) : first_(first), end_(end) {}
  constexpr explicit IdRange(Range values) : first_(values.begin), end_(values.end) {}

  constexpr Iterator begin() const { return Iterator(first_); }
  constexpr Iterator end() const { return Iterator(end_); }
  constexpr std::int64_t size() const { return values().size(); }
  constexpr bool contains(IdType id) const { return first_ <= id && id < end_; }
  /// The id at a position of the range, counted from 0.
  constexpr IdType operator[](std::int64_t position) const { return IdType(first_.value() + position); }
  constexpr Range values() const { return {first_.value(), end_.value()}; }
  friend constexpr bool operator==(IdRange, IdRange) = default;

 private:
  IdType first_, end_;
};

/// The ids 0 to count - 1.
template <class IdType>
constexpr IdRange<IdType> ids(std::int64_t count) {
  return {IdType(0), IdType(count)};
}

/// A vector that only ids of its own space index.
template <class IdType, class T>
class IdVector {
 public:
  IdVector() = default;
  explicit IdVector(std::int64_t size, const T& value = T()) : values_(static_cast<std::size_t>(size), value) {}
  explicit IdVector(std::vector<T> values) : values_(std::move(values)) {}

  T& operator[](IdType id) { return values_[id.index()]; }
  const T& operator[](IdType id) const { return values_[id.index()]; }
  std::int64_t size() const { return std::ssize(values_); }
  bool empty() const { return values_.empty(); }
  IdRange<IdType> ids() const { return moesaic::ids<IdType>(size()); }

  auto begin() { return values_.begin(); }
  auto end() { return values_.end(); }
  auto begin() const { return values_.begin(); }
  auto end() const { return values_.end(); }
  const T& back() const { return values_.back(); }

  void push_back(T value) { values_.push_back(std::move(value)); }
  template <class... Arguments>
  T& emplace_back(Arguments&&... arguments) {
    return values_.emplace_back(std::forward<Arguments>(arguments)...);
  }
  void assign(std::int64_t size, const T& value) { values_.assign(static_cast<std::size_t>(size), value); }
  void resize(std::int64_t size) { values_.resize(static_cast<std::size_t>(size)); }

  friend bool operator==(const IdVector&, const IdVector&) = default;

 private:
  std::vector<T> values_;
};

}  // namespace moesaic

template <class Tag>
struct std::hash<moesaic::Id<Tag>> {
  std::size_t operator()(moesaic::Id<Tag> id) const { return id.index(); }
};
