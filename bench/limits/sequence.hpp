// The loops whose rates are measured, one table per instruction set. The tables live in files with
// their own compiler flags, so those files include nothing but this and the intrinsics.
#pragma once

namespace quantlinear::limits {

struct Sequence {
  const char* name;
  const char* isa;
  int operand;     ///< of Operand
  int int16_sums;  ///< of Rate
  int products;    ///< product instructions per iteration
  int macs;        ///< multiply-adds per product instruction
  void (*run)(unsigned long iterations);
};

struct SequenceTable {
  const Sequence* sequences;
  int count;
};

/// Reads 64-bit words, aligned to 64 bytes.
using ReadLoop = unsigned long (*)(const unsigned long* data, unsigned long words);

struct ReadTable {
  const ReadLoop* loops;
  int count;
};

// Empty where the CPU or the operating system lacks the instruction set.
SequenceTable avx2_sequences();
SequenceTable avxvnni_sequences();
SequenceTable avx512_sequences();
SequenceTable amx_sequences();
SequenceTable neon_sequences();
ReadTable avx2_reads();

}  // namespace quantlinear::limits
