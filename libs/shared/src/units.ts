/** 1 024 bytes. Sizes are written as `4 * MiB`, never as digits. */
export const KiB = 1024;

/** 1 048 576 bytes. */
export const MiB = 1024 * KiB;

/** 1 073 741 824 bytes. */
export const GiB = 1024 * MiB;
