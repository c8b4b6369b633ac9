export function train(seed: number, steps: number, onStep?: (step: number) => unknown): Promise<string>;
