// Memory for weights, in huge pages where the system grants them: a core walks through fewer page tables then, and one
// core of Zen 4 reads weights up to a fourth faster (docs/performance-log.md).
#pragma once

#include <cstddef>
#include <memory>

namespace quantlinear::detail {

/// Memory of `size` bytes at a multiple of 64, its contents undefined; null where there is none. Of 2 MiB and more it
/// begins at a huge page, and may be rounded up to whole ones by a sixteenth of its size.
[[nodiscard]] std::shared_ptr<std::byte> allocate_in_huge_pages(std::size_t size);

/// Asks for huge pages in a mapping. Of a file it is the file's pages in memory that become huge, still one copy for
/// all processes, where the file system knows large ones (XFS; ext4 from Linux 6.16 on) and as they are read from the
/// disk.
void prefer_huge_pages(void* mapping, std::size_t size) noexcept;

}  // namespace quantlinear::detail
