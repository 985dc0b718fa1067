// The vendors of the matrix: one line each.
import anthropic from './anthropic.mjs';
import bedrock from './bedrock.mjs';
import cohere from './cohere.mjs';
import gemini from './gemini.mjs';
import openai from './openai.mjs';
import responses from './responses.mjs';

export const dialects = [openai, responses, anthropic, gemini, bedrock, cohere];
