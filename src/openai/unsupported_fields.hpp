#pragma once

#include "openai/request.hpp"

namespace moesaic::openai {

class Fields;

/// Fields of OpenAI's requests and of those of well-known servers that are not read here (docs/batch.md). Error for one
/// without which the answer would not be what was asked for, unless its value asks for nothing. Those that change no
/// answer are passed over: they do not count as unknown.
void check_unsupported(Fields& fields, RequestKind kind);

}  // namespace moesaic::openai
