#pragma once

#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "comm/mpi.hpp"

/// Plain values, lists and texts between the ranks of a communicator, as their bytes: all ranks are the same program on
/// the same kind of processor. Every function is collective.
namespace moesaic::comm {

/// What may travel as its bytes.
template <class T>
concept Plain = std::is_trivially_copyable_v<T> && !std::is_pointer_v<T>;

/// The elements whose bytes these are.
template <Plain T>
std::vector<T> list_of(std::span<const std::byte> bytes) {
  std::vector<T> list(bytes.size() / sizeof(T));
  if (!list.empty()) std::memcpy(list.data(), bytes.data(), list.size() * sizeof(T));
  return list;
}

/// The value of rank `root`, on all ranks.
template <Plain T>
T shared(const Communicator& comm, const T& value, int root = 0) {
  const auto own = std::as_bytes(std::span(&value, 1));
  std::vector<std::byte> bytes(own.begin(), own.end());
  comm.broadcast(bytes, root);
  return list_of<T>(bytes).front();
}

/// The list of rank `root`, on all ranks; the others' may have any size.
template <Plain T>
std::vector<T> shared(const Communicator& comm, const std::vector<T>& list, int root = 0) {
  const auto own = std::as_bytes(std::span(list));
  std::vector<std::byte> bytes(own.begin(), own.end());
  comm.broadcast(bytes, root);
  return list_of<T>(bytes);
}

/// The lists of all ranks, indexed by rank, on `root`; elsewhere nothing.
template <Plain T>
std::vector<std::vector<T>> gather_lists(const Communicator& comm, const std::vector<T>& own, int root = 0) {
  std::vector<std::vector<T>> lists;
  for (const auto& bytes : comm.gather(std::as_bytes(std::span(own)), root)) lists.push_back(list_of<T>(bytes));
  return lists;
}

/// The lists of all ranks one after the other, on `root`; elsewhere nothing.
template <Plain T>
std::vector<T> gather_joined(const Communicator& comm, const std::vector<T>& own, int root = 0) {
  std::vector<T> joined;
  for (const std::vector<T>& list : gather_lists(comm, own, root))
    joined.insert(joined.end(), list.begin(), list.end());
  return joined;
}

/// The values of all ranks, indexed by rank, on `root`; elsewhere nothing.
template <Plain T>
std::vector<T> gather_values(const Communicator& comm, const T& own, int root = 0) {
  return gather_joined(comm, std::vector<T>{own}, root);
}

/// The values of all ranks, indexed by rank, on all ranks.
template <Plain T>
std::vector<T> exchange_values(const Communicator& comm, const T& own) {
  return shared(comm, gather_values(comm, own));
}

/// The texts of all ranks, indexed by rank, on `root`; elsewhere nothing.
inline std::vector<std::string> gather_texts(const Communicator& comm, const std::string& own, int root = 0) {
  std::vector<std::string> texts;
  for (const auto& bytes : comm.gather(std::as_bytes(std::span(own)), root))
    texts.emplace_back(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return texts;
}

}  // namespace moesaic::comm
