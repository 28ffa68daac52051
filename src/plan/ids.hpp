#pragma once

#include "config/ids.hpp"

/// The index spaces of a layout (docs/glossary.md). plan::Grid converts between those of ranks and of layers.
namespace moesaic::plan {

using WorldRank = Id<struct WorldRankTag>;    ///< rank among all of a job's
using StageRank = Id<struct StageRankTag>;    ///< rank among those of its stage
using StageId = Id<struct StageTag>;          ///< pipeline stage
using StageLayer = Id<struct StageLayerTag>;  ///< decoder layer, counted within its stage
using GroupId = Id<struct GroupTag>;          ///< attention group of a stage
using ShardId = Id<struct ShardTag>;          ///< attention shard of a group
using SubsetId = Id<struct SubsetTag>;        ///< expert subset of a stage
using SliceId = Id<struct SliceTag>;          ///< slice of the experts of a subset
using SlotId = Id<struct SlotTag>;            ///< place for an expert in a layer's placement
using DomainId = Id<struct DomainTag>;        ///< domain of a stage's ranks
using MemberId = Id<struct MemberTag>;        ///< position of a rank among those of its domain

}  // namespace moesaic::plan
