import { matrix } from './matrix.mjs';

await matrix();
