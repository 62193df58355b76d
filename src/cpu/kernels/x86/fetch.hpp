// Which weights are fetched while others are read: by hand, because the hardware prefetcher stops at each 4 KiB page.
//
// Rows read side by side are followed by as many others. Those are one stretch of memory, and memory is fastest when a
// stretch is read from beginning to end, on Zen 3 when its two halves are (kInHalves); so they are fetched in that
// order, whatever part of them is needed first. Very long rows would not stay in the caches until they are used, and
// with AVX-512 some rows of small blocks are faster (in_one_stretch) if each is followed by a stream of its own.
#pragma once

#include "cpu/activations.hpp"
#include "cpu/kernel_table.hpp"
#include "cpu/kernels/x86/ymm.hpp"
#include "formats/format.hpp"

namespace quantlinear::cpu {
namespace {

/// Whether these are kernels of AVX-512: faster, on cores with second-level caches of 1 MiB or more.
#if defined(__AVX512F__)
inline constexpr bool kAvx512 = true;
#else
inline constexpr bool kAvx512 = false;
#endif

/// Whether memory is fetched from two places by turns, the halves of a block of about kBlockAhead bytes, while the
/// block before it is read. Measured on Zen 3, where one core with something to compute beside it reads 15 to 17 GB/s
/// from one place and 22 to 26 from two (four: no more); Zen 4 does not need it.
inline constexpr bool kInHalves = !kAvx512;
inline constexpr std::size_t kBlockAhead = 65536;

enum class CacheLevel { first, second };

/// In assembly, because GCC drops calls of functions that do nothing but prefetch.
template <int Bytes, CacheLevel Level = CacheLevel::first>
[[gnu::always_inline]] inline void prefetch(const void* p) {
  const auto* bytes = static_cast<const std::uint8_t*>(p);
#pragma GCC unroll 8
  for (int i = 0; i < Bytes; i += 64) {
    if constexpr (Level == CacheLevel::first) {
      asm volatile("prefetcht0 %0" : : "m"(bytes[i]));
    } else {
      asm volatile("prefetcht1 %0" : : "m"(bytes[i]));
    }
  }
}

/// The lines that begin in the `Bytes` bytes at p: of neighbouring pieces each line once.
template <int Bytes, CacheLevel Level>
[[gnu::always_inline]] inline void prefetch_each_once(const std::uint8_t* p) {
  const std::size_t skip = -reinterpret_cast<std::uintptr_t>(p) % 64;
  constexpr std::size_t kLines = Bytes / 64;
  for (std::size_t i = 0; i < kLines; ++i) prefetch<64, Level>(p + skip + 64 * i);
  if (skip < Bytes % 64) prefetch<64, Level>(p + skip + 64 * kLines);
}

/// Of the lines of `Bytes` bytes those whose number is `Part` modulo `Parts`.
template <int Bytes, int Part, int Parts, CacheLevel Level>
[[gnu::always_inline]] inline void prefetch_part(const std::uint8_t* p) {
  constexpr int kLines = (Bytes + 63) / 64, kCount = kLines > Part ? (kLines - Part + Parts - 1) / Parts : 0;
  for (int i = 0; i < kCount; ++i) prefetch<64, Level>(p + 64 * (Part + i * Parts));
}

/// Pieces of memory to be fetched one after the other; Turns: by turns from two places.
template <bool Turns = kInHalves>
struct PiecesAhead {
  const std::uint8_t* next;
  std::ptrdiff_t apart;  ///< how far the other place is from the next piece
  std::ptrdiff_t step;   ///< from a piece to the one after it in the same place

  PiecesAhead(const std::uint8_t* p, std::size_t to_other, std::size_t to_next)
      : next(p), apart(static_cast<std::ptrdiff_t>(to_other)), step(static_cast<std::ptrdiff_t>(to_next)) {}
  /// Pieces of `bytes`, all from one place on.
  static PiecesAhead in_a_row(const std::uint8_t* p, std::size_t bytes) { return {p, bytes, 2 * bytes}; }

  [[gnu::always_inline]] const std::uint8_t* take() {
    const std::uint8_t* piece = next;
    next += apart;
    if constexpr (Turns) apart = step - apart;  // else it is half a step
    return piece;
  }
  /// The same of the i-th piece, for loops that call nothing else: from one place no pointer has to change, which takes
  /// a register that some need for sums.
  [[gnu::always_inline]] const std::uint8_t* take_number(std::size_t i) {
    if constexpr (Turns) return take();
    return next + static_cast<std::ptrdiff_t>(i) * apart;
  }
};

/// Memory to be fetched a share at a time, since a core waits once too many lines are on their way: a share is `Pieces`
/// pieces of `Bytes` bytes. `Times`: so often (FetchTo), each time `apart` bytes later; the last time to the level
/// `Last`.
template <std::size_t Bytes, std::size_t Pieces, CacheLevel Level, int Times = 1, CacheLevel Last = Level>
struct Ahead {
  static constexpr std::size_t kBytes = Bytes;
  PiecesAhead<> pieces;
  std::size_t apart = 0;

  [[gnu::always_inline]] void share() {
    for (std::size_t i = 0; i < Pieces; ++i) {
      const std::uint8_t* p = pieces.take();
#pragma GCC unroll 8
      for (int time = 1; time < Times; ++time, p -= apart) prefetch<static_cast<int>(Bytes), Level>(p);
      if constexpr (Times > 0) prefetch<static_cast<int>(Bytes), Last>(p);
    }
  }
};

inline constexpr std::size_t kPage = 4096;

/// Where pages are small, a core waits for each walk through the page tables, but walks at the same time cost it hardly
/// more than one. So one line of each of many pages is fetched at once, further ahead than weights are: for what
/// translates their addresses.
inline constexpr std::size_t kTranslationsAhead = 64 * kPage;

[[gnu::noinline]] inline void fetch_page_by_page(const std::uint8_t* p, std::size_t bytes) {
#pragma GCC unroll 1
  for (std::size_t i = 0; i < bytes; i += kPage) prefetch<64, CacheLevel::second>(p + i);
}

/// To be called for every `rows` rows of a call, in order.
[[gnu::noinline]] inline void fetch_translations(const ProductArgs& args, std::size_t row, std::size_t rows) {
  constexpr std::size_t kAtOnce = 32 * kPage;
  // Of a small matrix they would be beyond its end.
  if ((args.row_end - args.row_begin) * args.row_bytes < 2 * kTranslationsAhead) return;
  const std::uint8_t* p = args.weights + row * args.row_bytes + kTranslationsAhead;
  const std::size_t bytes = rows * args.row_bytes;
  for (std::size_t i = -reinterpret_cast<std::uintptr_t>(p) % kAtOnce; i < bytes; i += kAtOnce) {
    fetch_page_by_page(p + i, kAtOnce);
  }
}

/// A chunk of one row in the file.
template <class F>
inline constexpr std::size_t kRowChunkBytes = kChunk / F::kBlockElements * F::kBlockBytes;

/// Whether blocks are small and weights are bytes: Q8_0.
template <class F>
inline constexpr bool kSmallBlocksOfBytes = F::kFamily == Family::small_block && kRowChunkBytes<F> > kChunk;

/// Where weights are fetched to, by who reads them. A core of Zen 4 has few lines on their way to its first-level
/// cache, then it waits; more go to the second level. But what waits for its operations rather than for memory finds
/// its weights faster in the first level. Measured on Zen 4; on Zen 3, whose memory was slower, neither was better.
///
/// Where a kernel is faster than memory, more is fetched than can be on its way, and what finds no room is dropped. So
/// each line is fetched several times on its way (Times): one core reads 34 to 39 GB/s then instead of 24 to 30.
/// Fetching takes time, too: the faster a kernel, and the more bytes its weights have, the more often it pays.
template <class F>
struct FetchTo {
  static constexpr CacheLevel second_if(bool second) { return second ? CacheLevel::second : CacheLevel::first; }
  static constexpr std::size_t kBytes = kRowChunkBytes<F>;  ///< of 256 weights
  static constexpr bool kSuper = F::kFamily == formats::Family::super_block;
  /// Not those of code books, of less than two bits, and NVFP4.
  static constexpr bool kPlain =
      kBytes > 60 &&
      (F::kFamily == formats::Family::float_weight || requires { F::kScaleAt; } || requires { F::kExponentAt; });

  static constexpr CacheLevel kGemv = second_if(kPlain);
  /// Whether from two places by turns: not where weights are fetched for the sake of their operations, to which that is
  /// a register more.
  static constexpr bool kTurns = kInHalves && kGemv == CacheLevel::second;
  template <int Columns>
  static constexpr bool kGemvTwice = kGemv == CacheLevel::second && kSuper && kBytes > (Columns == 1 ? 128 : 200);
  /// Whether it pays not to fetch twice the lines that two blocks share: the fewer there are of a block, the more.
  static constexpr bool kEachOnce = kGemv == CacheLevel::second && kBytes < 144;
  /// How often in file order, one column at a time, small blocks are fetched.
  template <int Columns>
  static constexpr int kSmallTimes = kInHalves && kSmallBlocksOfBytes<F> && Columns == 1 ? 2 : 1;
  static constexpr CacheLevel kLanesInFile = second_if(!kSuper || kPlain);
  static constexpr CacheLevel kInterleaved = CacheLevel::second;
  /// Chosen for weights from memory; those in a cache are read more slowly the more often they are fetched.
  template <int Columns>
  static constexpr int kInterleavedTimes = [] {
    if (kInHalves) return kSmallBlocksOfBytes<F> && Columns == 1 ? 5 : 1;
    if (kSmallBlocksOfBytes<F>) return Columns <= 3 ? 5 : (Columns == 4 ? 4 : 3);
    if (kBytes <= 128 || Columns > 4) return 1;
    return Columns == 1 ? 4 : (Columns <= 3 ? 3 : 2);
  }();
  static constexpr CacheLevel kInterleavedPanels = CacheLevel::second;
  static constexpr CacheLevel kPanels = second_if(kPlain && (!kSuper || kBytes > 100));
  /// Floats read eight rows side by side. None: the hardware follows them by itself, where rows are a page or more;
  /// Zen 3 better than any fetch by hand.
  template <int Columns>
  static constexpr int kFloatTimes = kGemv == CacheLevel::first ? 0
                                     : Columns > 1              ? 3
                                     : kAvx512                  ? 5
                                                                : 0;
  static constexpr bool kLongFloatRows = kAvx512 && kBytes == 512;  ///< whether those are fetched as well
};

/// Whether rows read side by side are fetched in one stretch, or its halves; otherwise each is a stream. Measured on
/// Zen 4 (where streams of rows that end within a chunk fetch a part of them twice), Zen 3.
template <class F>
[[gnu::always_inline]] inline bool in_one_stretch(const ProductArgs& args) {
  if (!kAvx512 || F::kFamily != Family::small_block || !kSmallBlocksOfBytes<F>) return true;
  if (args.x.m == 1) return args.row_bytes <= 3072;
  if (args.x.m <= 3 && args.row_bytes > kPage) return true;
  return args.in_features % kChunk != 0 && args.row_bytes < 2048;
}

/// Whether fetch_translations pays in the GEMV. Measured: of super-blocks in short rows, which have most pages to
/// translate for what is fetched ahead; not of Q8_0 with AVX-512, which waits for memory.
template <class F>
[[gnu::always_inline]] inline bool translations_of_gemv(const ProductArgs& args) {
  if (F::kFamily == Family::super_block) return FetchTo<F>::kGemv == CacheLevel::second && args.row_bytes <= 1024;
  return !(kAvx512 && kSmallBlocksOfBytes<F>);
}

/// How far ahead streams of single rows are, in bytes. Measured likewise.
[[gnu::always_inline]] inline std::size_t stream_distance(std::size_t row_bytes) {
  return row_bytes >= 2048 ? 8192 : 4096;
}

/// How far ahead of the chunk at hand interleaved weights are fetched. Of a small matrix there is less to fetch: a
/// sixteenth of it is far enough.
[[gnu::always_inline]] inline std::size_t store_distance(const ProductArgs& args) {
  constexpr std::size_t kFar = 16384;
  const std::size_t most = (args.row_end - args.row_begin) * args.row_bytes / 16;
  return most < kFar ? most : kFar;
}

/// What a core has on its way at once, about: of more, some is dropped.
inline constexpr std::size_t kFetchedAtOnce = 20480;

/// The first weights of a call, all at once, as nothing has fetched them before: 5 % of the time of a small layer. Not
/// of one so small that it is in a cache.
template <class F>
[[gnu::always_inline]] inline void fetch_beginning(const ProductArgs& args) {
  if constexpr (FetchTo<F>::kGemv == CacheLevel::second) {
    constexpr std::size_t kMostPages = 2 * kTranslationsAhead;
    const std::size_t all = (args.row_end - args.row_begin) * args.row_bytes;
    if (all < 2 * kFetchedAtOnce) return;
    const std::uint8_t* weights = args.weights + args.row_begin * args.row_bytes;
    fetch_page_by_page(weights, all < kMostPages ? all : kMostPages);
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kFetchedAtOnce; i += 64) prefetch<64, CacheLevel::second>(weights + i);
  }
}

/// Whether `rows` rows stay in the second-level cache until they are used, beside a panel and what it is multiplied by.
[[gnu::always_inline]] inline bool fit_ahead(std::size_t rows, std::size_t row_bytes) {
  return rows * row_bytes <= std::size_t{128} * 1024;
}

/// The pieces of Bytes that are fetched while the `Step` bytes at `begin` + `read` are read, of `all`; blocks are of
/// several such steps, about Block bytes. With the last block there is nothing to fetch but what is read.
template <std::size_t Step, std::size_t Bytes, std::size_t Block>
[[gnu::always_inline]] inline PiecesAhead<> of_next_block(const std::uint8_t* begin, std::size_t read,
                                                          std::size_t all) {
  constexpr std::size_t kBlock = (Block + Step - 1) / Step * Step;
  const std::size_t next = (read / kBlock + 1) * kBlock;
  if (next >= all) return {begin + read, 0, 0};
  return {begin + next + read % kBlock / 2, kBlock / 2, Bytes};
}

/// What is fetched while `rows` rows are read side by side, a chunk of each at a time: as many pieces of a chunk's
/// size.
class RowsAhead {
 public:
  static constexpr std::size_t kEnough = 32768, kMost = kAvx512 ? 262144 : 131072;

  /// For the rows from `base` on.
  template <class F>
  static RowsAhead of(const ProductArgs& args, const std::uint8_t* base, std::size_t rows) {
    return of<F>(args, base, rows, stream_distance(args.row_bytes));
  }
  /// `distance`: how far ahead streams of single rows are, in bytes.
  template <class F>
  static RowsAhead of(const ProductArgs& args, const std::uint8_t* base, std::size_t rows, std::size_t distance) {
    const std::size_t group = rows * args.row_bytes;
    if (group == 0 || group > kMost || !in_one_stretch<F>(args)) return streams(args, rows, distance);
    return FetchTo<F>::kTurns ? halves<F>(args, base, rows) : stretch<F>(args, rows);
  }
  /// In one stretch, from beginning to end.
  template <class F>
  static RowsAhead stretch(const ProductArgs& args, std::size_t rows) {
    const std::size_t group = rows * args.row_bytes;
    if (group == 0) return {0, 0, 0, 0, 0, 0};
    // Of short rows as many as fill the time until they come.
    const std::size_t all = (args.row_end - args.row_begin) * args.row_bytes;
    const std::size_t enough = all / 16 < kEnough ? all / 16 : kEnough;
    std::size_t ahead = enough < group ? group : enough / group * group;
    if (ahead == group && two_groups(group, all, args.x.m)) ahead = 2 * group;
    return {2 * kRowChunkBytes<F>, kRowChunkBytes<F>, rows, 0, 0, ahead};
  }
  /// By halves of blocks (kInHalves) of one group of rows, or of several that are short: of a small matrix of no more
  /// than a sixteenth. With the last block nothing.
  template <class F>
  static RowsAhead halves(const ProductArgs& args, const std::uint8_t* base, std::size_t rows) {
    const std::size_t group = rows * args.row_bytes, all = (args.row_end - args.row_begin) * args.row_bytes;
    const std::size_t most = all / 16 < kBlockAhead ? all / 16 : kBlockAhead;
    const std::size_t groups = most < 2 * group ? 1 : most / group, block = groups * group;
    const std::size_t read = static_cast<std::size_t>(base - (args.weights + args.row_begin * args.row_bytes));
    const std::size_t in_block = groups == 1 ? 0 : read / group % groups * group;
    if (read - in_block + block >= all) return {0, 0, 0, 0, 0, 0};
    return {kRowChunkBytes<F>, block / 2, rows / 2, 0, 0, block - in_block + in_block / 2};
  }
  /// A stream for each row. Of a small matrix there is less to fetch than `distance`: a sixteenth of it is far enough.
  static RowsAhead streams(const ProductArgs& args, std::size_t rows, std::size_t distance) {
    const std::size_t row_bytes = args.row_bytes;
    if (row_bytes == 0) return {0, 0, 0, 0, 0, 0};
    const std::size_t most = (args.row_end - args.row_begin) * row_bytes / (16 * rows);
    if (distance > most) distance = most;
    // Past the end of a row a stream goes on `rows` rows further down, with short rows several times.
    const std::size_t others = (rows - 1) * row_bytes, before = distance + distance / row_bytes * others;
    return {2 * row_bytes, row_bytes, 1, row_bytes - distance % row_bytes, before, before + others};
  }
  /// The pieces to be fetched with the chunk at byte `at` of the rows, the first of which begins at `base`.
  template <bool Turns = kInHalves>
  [[nodiscard, gnu::always_inline]] PiecesAhead<Turns> pieces(const std::uint8_t* base, std::size_t at) const {
    const std::uint8_t* first = base + factor_ * at + (at < turn_ ? before_ : after_);
    return {first, apart_, step_};
  }

 private:
  RowsAhead(std::size_t step, std::size_t apart, std::size_t factor, std::size_t turn, std::size_t before,
            std::size_t after)
      : step_(step), apart_(apart), factor_(factor), turn_(turn), before_(before), after_(after) {}

  /// Whether to be two groups ahead, where one takes too little time. The second one is fetched by nothing but
  /// fetch_beginning, so that a small matrix would wait for what is beyond that; with more columns it waits for
  /// operations. Measured on Zen 4.
  static bool two_groups(std::size_t group, std::size_t all, std::size_t m) {
    if (2 * group <= kFetchedAtOnce && m <= 2) return 16 * group <= all;
    return group < kEnough && 64 * group <= all;
  }

  std::size_t step_, apart_, factor_, turn_, before_, after_;
};

}  // namespace
}  // namespace quantlinear::cpu
