// One generator for everything: xoshiro256**, seeded by splitmix64 (both by Blackman and Vigna, in the public domain; written
// anew).
#include "world.h"

void sim_random_seed(sim_random *random, uint64_t seed) {
    for (int i = 0; i < 4; i++) {
        seed += 0x9E3779B97F4A7C15ull;
        uint64_t mixed = seed;
        mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9ull;
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EBull;
        random->state[i] = mixed ^ mixed >> 31;
    }
}

static uint64_t rotate(uint64_t value, int bits) { return value << bits | value >> (64 - bits); }

uint64_t sim_random_next(sim_random *random) {
    uint64_t *s = random->state;
    uint64_t result = rotate(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate(s[3], 45);
    return result;
}
