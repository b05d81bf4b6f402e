// Builds the addon in the workspace: 0.2 s when nothing has changed. Missing tools are said and are no failure; code that does not compile is.
import { cmakeBuild, explainMissing, missingTools } from './cmake.mjs';

const missing = missingTools();
if (process.env.NEKIT_NATIVE === 'off') process.stdout.write('@nekit/native: not built, as NEKIT_NATIVE=off says\n');
else if (missing.length > 0) process.stdout.write(`${explainMissing(missing)}\n`);
else {
  const { code, output } = await cmakeBuild({ folder: 'build', target: 'nekit' });
  // Warnings are worth a look even when it compiles.
  if (code !== 0 || /\bwarning:/.test(output)) process.stderr.write(output);
  if (code !== 0) process.exitCode = 1;
}
